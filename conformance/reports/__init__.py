"""How a report is told: to people on a terminal or in a browser, to registries, to CI."""
