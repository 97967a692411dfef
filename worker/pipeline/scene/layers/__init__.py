"""A photo as layers by depth or by labels."""
