"""What is public: links, and the clock that opens them."""
