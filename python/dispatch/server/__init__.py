"""The sidecar: client connections, the providers' HTTP APIs as doors, the admin pages, workers and their supervisor."""
