"""The result files, each made from the photo and its depth map."""
