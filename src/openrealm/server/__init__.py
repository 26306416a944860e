"""HTTP API and one page over loaded runs; knows of workspaces only what it is handed."""
