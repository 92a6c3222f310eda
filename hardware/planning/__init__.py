"""What a run will cost on a device, before anything is sent."""
