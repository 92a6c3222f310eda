"""Images and figures of them."""
