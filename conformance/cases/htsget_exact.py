"""Nothing comes that was not asked for: beyond the protocol, which allows it."""
