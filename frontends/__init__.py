"""gradwise in the dialect of a host: one module for each host, imported by whoever uses that host."""
