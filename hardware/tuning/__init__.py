"""A trained model fitted to the device that it runs on: its last linear map, and its circuit's weights."""
