// What process 1 owes a machine: file systems, drivers, a loopback device; and an orderly end.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "lines.h"

// How often is looked whether programs have ended, and how long they may take to be gone that were killed, ms.
enum { STEP_MS = 20, GONE_MS = 1000 };

static void mount_at(const char *type, const char *path, const char *options, unsigned long flags) {
  mkdir(path, 0755);
  mount(type, path, type, flags, options); // there already, or not in this kernel: both will do
}

// For kernels whose drivers are modules; those built in need none of it.
static void load_drivers(void) {
  int probe = socket(40, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe >= 0) {
    close(probe);
    return;
  }
  char *argv[] = {"modprobe", "-a", "-q", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng",
                  "vmw_vsock_virtio_transport", 0};
  char *envp[] = {"PATH=/usr/sbin:/sbin:/usr/bin:/bin", 0};
  static const char *const places[] = {"/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"};
  for (unsigned i = 0; i < 3; i++) {
    if (access(places[i], X_OK)) continue;
    pid_t pid = vfork();
    if (pid == 0) {
      execve(places[i], argv, envp);
      _exit(127);
    }
    if (pid > 0) waitpid(pid, 0, 0);
    return;
  }
}

static void loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  ioctl(fd, SIOCSIFFLAGS, &request);
  close(fd);
}

// A word of the kernel's command line, `name` with its "="; the last one wins.
static int parameter(const char *name, char *value, size_t size) {
  static struct lines file;
  int found = 0;
  if (!lines_open(&file, "/proc/cmdline")) return 0;
  for (char *word = lines_next(&file); word;) {
    char *next = cut_at(word, ' ');
    if (!strncmp(word, name, strlen(name))) found = concat(value, size, word + strlen(name), (char *)0);
    word = next;
  }
  lines_close(&file);
  return found;
}

static void say(const char *what, const char *which) {
  char line[512];
  concat(line, sizeof line, "typevisor: ", what, which, "\n", (char *)0);
  if (write(2, line, strlen(line)) < 0) return; // there is no console to say it on
}

// The root file system that root= names, if it does, becomes ours, as the kernel would do it without an initrd.
static void change_root(void) {
  static const char *const types[] = {"ext4", "squashfs", "erofs", "xfs", "btrfs"};
  char device[256], type[32], word[8];
  if (!parameter("root=", device, sizeof device)) return;
  int named = parameter("rootfstype=", type, sizeof type);
  unsigned long flags = parameter("rw", word, sizeof word) && !word[0] ? 0 : MS_RDONLY;
  mkdir("/newroot", 0755);
  for (int tries = 0; tries < 250 && access(device, F_OK); tries++) usleep(20000);
  int mounted = named && !mount(device, "/newroot", type, flags, 0);
  for (unsigned i = 0; i < sizeof types / sizeof *types && !mounted && !named; i++)
    mounted = !mount(device, "/newroot", types[i], flags, 0);
  if (!mounted) {
    say("cannot mount the root file system on ", device);
    return;
  }
  if (chdir("/newroot") || mount(".", "/", 0, MS_MOVE, 0) || chroot(".") || chdir("/"))
    say("cannot change to the root file system on ", device);
}

static void mount_basics(void) {
  mount_at("devtmpfs", "/dev", 0, MS_NOSUID);
  mount_at("proc", "/proc", 0, MS_NOSUID | MS_NODEV | MS_NOEXEC);
}

void boot_as_init(void) {
  mount_basics();
  load_drivers();
  change_root();
  mount_basics();
  mount_at("sysfs", "/sys", 0, MS_NOSUID | MS_NODEV | MS_NOEXEC);
  mount_at("cgroup2", "/sys/fs/cgroup", 0, MS_NOSUID | MS_NODEV | MS_NOEXEC);
  mount_at("devpts", "/dev/pts", "mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC);
  mount_at("tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV);
  mount_at("tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV);
  mkdir("/tmp", 01777);
  // Programs get pipes; what they write to the console themselves goes there.
  int console = open("/dev/console", O_RDWR | O_NOCTTY);
  for (int fd = 0; fd < 3 && console >= 0; fd++) dup2(console, fd);
  if (console > 2) close(console);
  loopback_up();
}

static void wait_for_others(uint32_t most) {
  for (uint32_t ms = 0; ms < most; ms += STEP_MS) {
    while (waitpid(-1, 0, WNOHANG) > 0) {}
    if (waitpid(-1, 0, WNOHANG) < 0) return; // nobody is left
    usleep(STEP_MS * 1000);
  }
}

// Everybody else ends, after a word if that is enough.
static void end_all(uint32_t patience) {
  kill(-1, SIGTERM);
  kill(-1, SIGCONT);
  wait_for_others(patience);
  kill(-1, SIGKILL);
  wait_for_others(GONE_MS);
}

// Beside another init the machine is that one's to end.
static void ask_init(void) {
  char *argv[] = {"poweroff", 0};
  pid_t pid = vfork();
  if (pid == 0) {
    setsid();
    execvp(argv[0], argv);
    _exit(127);
  }
  int status = 0;
  if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
    for (;;) pause();
}

// A machine without ACPI says by a reset that it is off: the kernel's reboot=k.
void power_off(uint32_t patience) {
  sync(); // whoever asked may not wait for all of it
  if (getpid() != 1) ask_init();
  else end_all(patience);
  sync();
  mount(0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
  reboot(access("/sys/firmware/acpi", F_OK) ? RB_AUTOBOOT : RB_POWER_OFF);
}
