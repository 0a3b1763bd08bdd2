"""What `launch.native` is asked for and no library does: products, convolutions, attention, choices."""
