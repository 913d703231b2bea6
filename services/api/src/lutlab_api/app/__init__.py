"""Use cases of the API, against the ports in `lutlab_api.app.ports`."""
