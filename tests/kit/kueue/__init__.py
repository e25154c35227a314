"""Sets under quota, and what is done to them and to the controller."""
