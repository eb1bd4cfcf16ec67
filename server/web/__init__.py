"""Pages for people, and the description of the interface for machines."""
