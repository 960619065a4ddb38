"""Other libraries' finders, each run as its documentation says, with its own defaults."""
