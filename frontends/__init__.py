"""The dialects of hosts, each in a module of its own that imports its host: `from gradwise.frontends import optax`."""
