"""The pages: rendered by the server on the service that the HTTP API has, with all that they load."""
