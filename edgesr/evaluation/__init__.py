"""Cost and quality of networks: complexity counts, PSNR and SSIM."""
