"""The black-box suite: a URL in, a report out. It imports none of the other packages."""
