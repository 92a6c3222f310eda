"""The light U-Net, the arms of its bottleneck, and their assembly from a configuration."""
