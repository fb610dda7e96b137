"""The HTTP API: the service's use cases as addresses, for programs and for the pages."""
