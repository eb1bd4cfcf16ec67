"""What the server costs, as ratios against other ways of doing the same on the same machine."""
