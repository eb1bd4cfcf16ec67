"""The public suites of htsget and refget, run against this server and judged."""
