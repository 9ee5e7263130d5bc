# The guest's greeting. Arguments: /proc/cmdline version meminfo cpuinfo uptime, in this order; uptime is read last, to be
# close to the moment it is printed. Ends with status 3 if the command line asks for the greeting alone.
FNR == 1 { file++ }
file == 1 { only = (" " $0 " ") ~ / typevisor\.run=greeting / }
file == 2 { release = $3 }
file == 3 && /^MemTotal:/ { memory = int($2 / 1024); nextfile }
file == 4 && /^processor/ { cpus++ }
file == 4 && /^model name/ { model = $0; sub(/^[^:]*: */, "", model) }
file == 5 { uptime = $1 }
END {
  printf "\n  kernel    Linux %s\n  cpu       %d x %s\n  memory    %d MB\n  power-on  %s s ago\n\n",
    release, cpus, model, memory, uptime
  exit only ? 3 : 0
}
