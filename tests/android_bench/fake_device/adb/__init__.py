"""adb's side of the fake device: adbd on loopback, its shell and its file transfers."""
