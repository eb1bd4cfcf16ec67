"""The log: one form for every process."""

import logging

_TELL_TOO_MUCH = ("boto3", "botocore", "urllib3", "s3transfer")


def configure_logging(level: int | str) -> None:
    """Log from `level` on; libraries that would log credentials at the debug level do not."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in _TELL_TOO_MUCH:
        logging.getLogger(name).setLevel(max(logging.getLogger().level, logging.INFO))
