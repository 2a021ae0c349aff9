module labapp

go 1.21
