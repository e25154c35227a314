"""Random small clusters on which `kubectl lws whatif` is judged against a Kueue that decides."""
