"""The loaded model: read, differentiated and run; its classes and inputs."""
