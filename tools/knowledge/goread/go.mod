module goread

go 1.24
