// The addon's face to JavaScript; src/host/addon.ts is its only importer and has the types.
// Everything here runs on the thread of the JavaScript environment that loaded the addon ("main").
#include <napi.h>
#include <sched.h>

#include <memory>
#include <unordered_set>

#include "memory_view.h"
#include "poll.h"
#include "register_page.h"
#include "vcpu_thread.h"

namespace typevisor {
namespace {

class Vcpu;

// What one environment (the main thread, or a worker) has running. The environment's end must not leave a thread
// in KVM_RUN: process.exit() would wait for nobody and the kernel would tear memory from under it.
struct Instance {
  std::unordered_set<Vcpu*> running;
};

void Throw(Napi::Env env, const std::string& message) { Napi::Error::New(env, message).ThrowAsJavaScriptException(); }

// new RegisterPage(words: ArrayBuffer, actions: ArrayBuffer)
class Page : public Napi::ObjectWrap<Page> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "RegisterPage",
                       {InstanceMethod<&Page::Add>("add"), InstanceMethod<&Page::AddRing>("addRing"),
                        InstanceMethod<&Page::Take>("take")});
  }

  explicit Page(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    auto words = info[0].As<Napi::ArrayBuffer>();
    auto actions = info[1].As<Napi::ArrayBuffer>();
    if (words.ByteLength() < RegisterPage::kWords * 4 || actions.ByteLength() < RegisterPage::kSlots * 4) {
      Throw(info.Env(), "register page: buffers too small");
      return;
    }
    words_ = Napi::Persistent(words);
    actions_ = Napi::Persistent(actions);
    page_ = std::make_unique<RegisterPage>(static_cast<uint32_t*>(words.Data()),
                                           static_cast<uint32_t*>(actions.Data()));
  }

  RegisterPage* page() { return page_.get(); }

 private:
  // add(space, address, width, action, operand): slot
  Napi::Value Add(const Napi::CallbackInfo& info) {
    const auto space = static_cast<Space>(info[0].As<Napi::Number>().Uint32Value());
    const auto address = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
    const uint32_t width = info[2].As<Napi::Number>().Uint32Value();
    const auto action = static_cast<Action>(info[3].As<Napi::Number>().Uint32Value());
    const uint32_t operand = info[4].As<Napi::Number>().Uint32Value();
    const bool known = action == kPostByte ? page_->has_ring(operand) : operand < RegisterPage::kWords;
    const int slot = known ? page_->Add(space, address, width, action, operand) : -1;
    if (slot < 0) Throw(info.Env(), "register page: full, or the register is taken");
    return Napi::Number::New(info.Env(), slot);
  }

  // addRing(size, eventfd): ring
  Napi::Value AddRing(const Napi::CallbackInfo& info) {
    const uint32_t size = info[0].As<Napi::Number>().Uint32Value();
    const uint32_t ring = size != 0 && (size & (size - 1)) == 0
                              ? page_->AddRing(size, info[1].As<Napi::Number>().Int32Value())
                              : UINT32_MAX;
    if (ring == UINT32_MAX) Throw(info.Env(), "register page: too many rings, or a size that is no power of two");
    return Napi::Number::New(info.Env(), ring);
  }

  // take(ring, into: Uint8Array): count
  Napi::Value Take(const Napi::CallbackInfo& info) {
    const uint32_t ring = info[0].As<Napi::Number>().Uint32Value();
    auto into = info[1].As<Napi::Uint8Array>();
    if (!page_->has_ring(ring)) {
      Throw(info.Env(), "register page: no such ring");
      return info.Env().Undefined();
    }
    const auto room = static_cast<uint32_t>(into.ByteLength());
    return Napi::Number::New(info.Env(), page_->ring(ring).Take(into.Data(), room));
  }

  Napi::Reference<Napi::ArrayBuffer> words_;
  Napi::Reference<Napi::ArrayBuffer> actions_;
  std::unique_ptr<RegisterPage> page_;
};

// new VcpuThread(vcpuFd, runAddress, page | undefined, control: ArrayBuffer, eventfd)
class Vcpu : public Napi::ObjectWrap<Vcpu> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "VcpuThread",
                       {InstanceMethod<&Vcpu::Start>("start"), InstanceMethod<&Vcpu::Wake>("wake"),
                        InstanceMethod<&Vcpu::Spin>("spin"), InstanceMethod<&Vcpu::Kick>("kick"),
                        InstanceMethod<&Vcpu::Stop>("stop"), InstanceMethod<&Vcpu::SetAffinity>("setAffinity")});
  }

  explicit Vcpu(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    auto control = info[3].As<Napi::ArrayBuffer>();
    if (control.ByteLength() < sizeof(Control)) {
      Throw(info.Env(), "vcpu thread: control block too small");
      return;
    }
    RegisterPage* page = nullptr;
    if (info[2].IsObject()) {
      page_ = Napi::Persistent(info[2].As<Napi::Object>());
      page = Page::Unwrap(info[2].As<Napi::Object>())->page();
    }
    control_ = Napi::Persistent(control);
    thread_ = std::make_unique<VcpuThread>(
        info[0].As<Napi::Number>().Int32Value(),
        reinterpret_cast<kvm_run*>(static_cast<uintptr_t>(info[1].As<Napi::Number>().Int64Value())), page,
        static_cast<Control*>(control.Data()), info[4].As<Napi::Number>().Int32Value());
  }

  ~Vcpu() override { End(); }

  void End() {
    if (thread_) thread_->Stop();
  }

 private:
  Instance& instance(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

  void Start(const Napi::CallbackInfo& info) {
    const int error = thread_->Start();
    if (error != 0) {
      Throw(info.Env(), std::string("pthread_create: ") + strerror(error));
      return;
    }
    // While it runs the object must not be collected.
    Ref();
    instance(info.Env()).running.insert(this);
  }
  // setAffinity(mask: Uint8Array of whole 64-bit words)
  void SetAffinity(const Napi::CallbackInfo& info) {
    auto mask = info[0].As<Napi::Uint8Array>();
    thread_->SetAffinity(std::vector<uint8_t>(mask.Data(), mask.Data() + mask.ByteLength()));
  }
  void Wake(const Napi::CallbackInfo&) { thread_->Wake(); }
  Napi::Value Spin(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), thread_->Spin(info[0].As<Napi::Number>().Uint32Value()));
  }
  void Kick(const Napi::CallbackInfo&) { thread_->Kick(); }
  void Stop(const Napi::CallbackInfo& info) {
    thread_->Stop();
    if (instance(info.Env()).running.erase(this) != 0) Unref();
  }

  Napi::ObjectReference page_;
  Napi::Reference<Napi::ArrayBuffer> control_;
  std::unique_ptr<VcpuThread> thread_;
};

// The host CPU this thread runs on now.
Napi::Value CurrentCpu(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), sched_getcpu()); }

// addressOf(bytes: Uint8Array): where they lie. A backing store does not move while its ArrayBuffer lives; asking also
// takes a small array's bytes off V8's moving heap.
napi_value AddressOf(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value array;
  napi_typedarray_type type;
  void* data = nullptr;
  napi_value address = nullptr;
  if (napi_get_cb_info(env, info, &count, &array, nullptr, nullptr) != napi_ok || count < 1 ||
      napi_get_typedarray_info(env, array, &type, nullptr, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    napi_throw_type_error(env, nullptr, "addressOf: not a Uint8Array");
    return nullptr;
  }
  napi_create_double(env, static_cast<double>(reinterpret_cast<uintptr_t>(data)), &address);
  return address;
}

// detach(buffer: ArrayBuffer): the buffer becomes empty; the memory behind it stays its owner's. Transferring it with
// structuredClone() would not do: Node marks external buffers as not transferable, and copies them.
void Detach(const Napi::CallbackInfo& info) { info[0].As<Napi::ArrayBuffer>().Detach(); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* instance = new Instance();
  env.SetInstanceData(instance);
  env.AddCleanupHook(
      [](Instance* ending) {
        for (Vcpu* vcpu : ending->running) vcpu->End();
        ending->running.clear();
      },
      instance);
  exports.Set("RegisterPage", Page::Define(env));
  exports.Set("VcpuThread", Vcpu::Define(env));
  exports.Set("Poll", Poll::Define(env));
  exports.Set("currentCpu", Napi::Function::New(env, CurrentCpu, "currentCpu"));
  napi_value address_of = nullptr;
  napi_create_function(env, "addressOf", NAPI_AUTO_LENGTH, AddressOf, nullptr, &address_of);
  exports.Set("addressOf", address_of);
  exports.Set("viewMemory", Napi::Function::New(env, ViewMemory, "viewMemory"));
  exports.Set("detach", Napi::Function::New(env, Detach, "detach"));
  return exports;
}

}  // namespace
}  // namespace typevisor

static Napi::Object InitTypevisor(Napi::Env env, Napi::Object exports) { return typevisor::Init(env, exports); }
NODE_API_MODULE(typevisor, InitTypevisor)
