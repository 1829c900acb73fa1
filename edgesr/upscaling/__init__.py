"""Images of any size through a network: tiling, upscaler, files, pre-scaling."""
