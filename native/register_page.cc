#include "register_page.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace typevisor {
namespace {

// One number for a register: its address has at most 52 bits, a width is 1, 2, 4 or 8, and bit 63 marks it used.
uint64_t Key(Space space, uint64_t address, uint32_t width) {
  return (1ull << 63) | (static_cast<uint64_t>(space) << 62) | (static_cast<uint64_t>(width) << 56) | address;
}

uint32_t Hash(uint64_t key) { return static_cast<uint32_t>((key * 0x9e3779b97f4a7c15ull) >> 32); }

}  // namespace

bool ByteRing::Post(const uint8_t* bytes, uint32_t count) {
  {
    std::lock_guard<std::mutex> lock(posting_);
    const uint32_t head = head_.load(std::memory_order_relaxed);
    const uint32_t used = head - tail_.load(std::memory_order_acquire);
    if (count > mask_ + 1 - used) return false;
    for (uint32_t i = 0; i < count; i++) data_[(head + i) & mask_] = bytes[i];
    head_.store(head + count, std::memory_order_seq_cst);
    // Main takes until it finds nothing, so only bytes that follow an empty ring need telling. seq_cst against
    // Take(), which stores `tail_` before its next look at `head_`: either main sees these bytes in that look, or
    // we see that the ring was empty.
    if (tail_.load(std::memory_order_seq_cst) != head) return true;
  }
  const uint64_t one = 1;
  // Cannot fill up (64 bits) and cannot fail while main holds the descriptor.
  return write(eventfd_, &one, sizeof one) == sizeof one;
}

uint32_t ByteRing::Take(uint8_t* into, uint32_t room) {
  const uint32_t tail = tail_.load(std::memory_order_relaxed);
  const uint32_t available = head_.load(std::memory_order_seq_cst) - tail;
  const uint32_t count = std::min(available, room);
  for (uint32_t i = 0; i < count; i++) into[i] = data_[(tail + i) & mask_];
  tail_.store(tail + count, std::memory_order_seq_cst);
  return count;
}

int RegisterPage::Add(Space space, uint64_t address, uint32_t width, Action action, uint32_t operand) {
  const uint64_t key = Key(space, address, width);
  if (Find(key) >= 0) return -1;
  for (uint32_t probe = 0; probe < kSlots; probe++) {
    const uint32_t slot = (Hash(key) + probe) % kSlots;
    Entry& entry = entries_[slot];
    if (entry.key.load(std::memory_order_relaxed) != 0) continue;
    entry.action = action;
    entry.operand = operand;
    entry.key.store(key, std::memory_order_release);
    return static_cast<int>(slot);
  }
  return -1;
}

uint32_t RegisterPage::AddRing(uint32_t size, int eventfd) {
  if (ring_count_ == kRings) return UINT32_MAX;
  rings_[ring_count_] = std::make_unique<ByteRing>(size, eventfd);
  return ring_count_++;
}

int RegisterPage::Find(uint64_t key) const {
  for (uint32_t probe = 0; probe < kSlots; probe++) {
    const uint32_t slot = (Hash(key) + probe) % kSlots;
    const uint64_t found = entries_[slot].key.load(std::memory_order_acquire);
    if (found == key) return static_cast<int>(slot);
    if (found == 0) return -1;
  }
  return -1;
}

bool RegisterPage::Access(Space space, uint64_t address, uint32_t width, uint32_t count, bool is_write,
                          uint8_t* data) {
  const int slot = Find(Key(space, address, width));
  if (slot < 0) return false;
  const Entry& entry = entries_[slot];
  switch (std::atomic_ref<uint32_t>(actions_[slot]).load(std::memory_order_seq_cst)) {
    case kReadWord: {
      if (is_write) return false;
      const uint32_t word = std::atomic_ref<uint32_t>(words_[entry.operand]).load(std::memory_order_seq_cst);
      for (uint32_t i = 0; i < count; i++) memcpy(data + i * width, &word, width);
      return true;
    }
    case kClearBits: {
      if (!is_write) return false;
      for (uint32_t i = 0; i < count; i++) {
        uint32_t bits = 0;
        memcpy(&bits, data + i * width, width);
        std::atomic_ref<uint32_t>(words_[entry.operand]).fetch_and(~bits, std::memory_order_seq_cst);
      }
      return true;
    }
    case kPostByte:
      // Width 1 by construction: `count` bytes of one OUTS are a plain run.
      return is_write && width == 1 && rings_[entry.operand]->Post(data, count);
    default:
      return false;
  }
}

bool RegisterPage::Answer(kvm_run* run) {
  if (run->exit_reason == KVM_EXIT_IO) {
    return Access(Space::kPio, run->io.port, run->io.size, run->io.count, run->io.direction == KVM_EXIT_IO_OUT,
                  reinterpret_cast<uint8_t*>(run) + run->io.data_offset);
  }
  if (run->exit_reason == KVM_EXIT_MMIO) {
    if (run->mmio.len > 4) return false;
    return Access(Space::kMmio, run->mmio.phys_addr, run->mmio.len, 1, run->mmio.is_write, run->mmio.data);
  }
  return false;
}

}  // namespace typevisor
