#include "vcpu_thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "register_page.h"

namespace typevisor {
namespace {

constexpr size_t kStackSize = 64 * 1024;
// How long a parked thread looks for its answer before it sleeps, when main is spinning for the exit: longer than
// any ordinary answer (1 to 5 us), far shorter than two wake-ups.
constexpr uint64_t kAnswerSpinNs = 20'000;

// The signal's only effect is that ioctl(KVM_RUN) returns EINTR. SA_RESTART spares other system calls.
void IgnoreKick(int) {}

int KickSignal() { return SIGRTMIN; }

void InstallKickHandler() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = IgnoreKick;
    action.sa_flags = SA_RESTART;
    sigaction(KickSignal(), &action, nullptr);
    return true;
  }();
  (void)installed;
}

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Watches `word` until it differs from `value` or the time is over. The clock is read every 64th look.
bool SpinWhile(const std::atomic<uint32_t>& word, uint32_t value, uint64_t nanoseconds) {
  const uint64_t end = Now() + nanoseconds;
  do {
    for (int i = 0; i < 64; i++) {
      if (word.load(std::memory_order_acquire) != value) return true;
      __builtin_ia32_pause();
    }
  } while (Now() < end);
  return word.load(std::memory_order_seq_cst) != value;
}

volatile uint8_t& ImmediateExit(kvm_run* run) { return *const_cast<volatile uint8_t*>(&run->immediate_exit); }

}  // namespace

int VcpuThread::Start() {
  if (started_) return EALREADY;
  InstallKickHandler();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackSize);
  if (!affinity_.empty()) {
    // Allocated memory is aligned for it, and its size is what the caller gave.
    const auto* cpus = reinterpret_cast<const cpu_set_t*>(affinity_.data());
    pthread_attr_setaffinity_np(&attributes, affinity_.size(), cpus);
  }
  // The thread inherits this mask: signals to the process stay main's, only the kick reaches a vCPU.
  sigset_t mask, before;
  sigfillset(&mask);
  sigdelset(&mask, KickSignal());
  pthread_sigmask(SIG_SETMASK, &mask, &before);
  control_->state.store(kRunning, std::memory_order_seq_cst);
  const int error = pthread_create(&thread_, &attributes, &VcpuThread::Main, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  started_ = error == 0;
  if (!started_) control_->state.store(kCreated, std::memory_order_seq_cst);
  return error;
}

void* VcpuThread::Main(void* self) {
  pthread_setname_np(pthread_self(), "vcpu");
  static_cast<VcpuThread*>(self)->Run();
  return nullptr;
}

void VcpuThread::Run() {
  while (!control_->stop.load(std::memory_order_seq_cst)) {
    if (ioctl(vcpu_fd_, KVM_RUN, 0) == 0) {
      if (page_ != nullptr && page_->Answer(run_)) {
        // Only this thread writes the counter: two plain words, no read-modify-write needed.
        const uint32_t low = control_->answered[0].load(std::memory_order_relaxed) + 1;
        control_->answered[0].store(low, std::memory_order_relaxed);
        if (low == 0) control_->answered[1].fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      if (!Park(0)) break;
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) continue;  // an INIT-ed vCPU was woken for nothing (api.rst 4.10)
    // Cleared before anybody reads why it was set: a kick that comes now sets it again.
    if (error == EINTR) ImmediateExit(run_) = 0;
    if (!Park(static_cast<uint32_t>(error))) break;
  }
  control_->state.store(kEnded, std::memory_order_seq_cst);
  const uint64_t one = 1;
  (void)!write(eventfd_, &one, sizeof one);
}

bool VcpuThread::Park(uint32_t error) {
  Control& c = *control_;
  c.error.store(error, std::memory_order_relaxed);
  c.cpu.store(static_cast<uint32_t>(sched_getcpu()), std::memory_order_relaxed);
  c.state.store(kParked, std::memory_order_seq_cst);
  // Dekker with main's "clear spinning, then look at state once more": one of us sees the other.
  if (c.spinning.load(std::memory_order_seq_cst)) {
    if (SpinWhile(c.state, kParked, kAnswerSpinNs)) return !c.stop.load(std::memory_order_seq_cst);
    // Main may have stopped spinning just after we looked; telling it twice is harmless.
  }
  const uint64_t one = 1;
  (void)!write(eventfd_, &one, sizeof one);
  c.sleeping.store(1, std::memory_order_seq_cst);
  while (c.state.load(std::memory_order_seq_cst) == kParked && !c.stop.load(std::memory_order_seq_cst)) {
    // The kernel compares again: a resume between our look and the sleep returns EAGAIN.
    syscall(SYS_futex, &c.state, FUTEX_WAIT_PRIVATE, kParked, nullptr, nullptr, 0);
  }
  c.sleeping.store(0, std::memory_order_seq_cst);
  return !c.stop.load(std::memory_order_seq_cst);
}

void VcpuThread::Wake() { syscall(SYS_futex, &control_->state, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }

bool VcpuThread::Spin(uint64_t nanoseconds) { return SpinWhile(control_->state, kRunning, nanoseconds); }

void VcpuThread::Kick() {
  if (!started_) return;
  // immediate_exit first: if the thread is about to enter KVM_RUN the signal comes too early, the flag does not.
  ImmediateExit(run_) = 1;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  pthread_kill(thread_, KickSignal());
}

void VcpuThread::Stop() {
  if (!started_) return;
  control_->stop.store(1, std::memory_order_seq_cst);
  Kick();
  // A parked thread leaves its futex because the value it waits on is gone.
  uint32_t parked = kParked;
  control_->state.compare_exchange_strong(parked, kRunning, std::memory_order_seq_cst);
  Wake();
  pthread_join(thread_, nullptr);
  started_ = false;
}

}  // namespace typevisor
