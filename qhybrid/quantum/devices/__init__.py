"""Local copies of IBM devices: snapshots, calibrations, and where on a device a circuit runs best."""
