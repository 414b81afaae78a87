"""mien changes who is on screen: face swapping for photos, videos and live cameras."""
