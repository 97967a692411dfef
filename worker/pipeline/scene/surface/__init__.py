"""The surface of a scene: triangles, cut along edges, with a second sheet behind the cuts."""
