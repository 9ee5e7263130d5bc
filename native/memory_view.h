// ArrayBuffers over memory that JavaScript does not own: guest RAM and kvm_run pages.
//
// The rule: whoever maps the memory detaches every view of it before unmapping it.
#pragma once

#include <napi.h>

namespace typevisor {

// viewMemory(address, length): ArrayBuffer. The memory is not counted as the heap's: a guest's RAM would make V8
// collect garbage at every VM.
Napi::Value ViewMemory(const Napi::CallbackInfo& info);

}  // namespace typevisor
