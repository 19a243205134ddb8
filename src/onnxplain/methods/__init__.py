"""Attribution methods, each a few lines over a session and the C++ reduction."""
