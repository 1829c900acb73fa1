"""Running a .tflite: session, interpreter, GPU accelerator in a child process, Vulkan."""
