module pawl/lab/app

go 1.21
