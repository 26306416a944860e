"""What a run is: begun, loaded, its caches."""
