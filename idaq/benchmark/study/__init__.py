"""A study: what its runs came to, kept so that every table and figure of its page is calculated from it again."""
