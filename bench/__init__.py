"""What `make bench` runs: the API and the batch side by side with the usual ways, on this machine."""
