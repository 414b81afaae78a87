"""The server of the studio: what the command line can do, as REST, and the page's files."""
