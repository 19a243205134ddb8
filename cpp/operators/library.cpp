// What ONNX Runtime calls: RegisterCustomOps, and for each operator the functions of an OrtCustomOp.
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <vector>

#include "operator.hpp"

#if defined(_WIN32)
#define ONNXPLAIN_EXPORT extern "C" __declspec(dllexport)
#else
#define ONNXPLAIN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace onnxplain::operators {
namespace {

//! The only table that this process has: ONNX Runtime hands out the same one to every session.
const OrtApi* table = nullptr;

constexpr const char* domain_name = "onnxplain.operators";

//! Returns what `work` threw as a status; nullptr if it threw nothing. No exception may reach ONNX Runtime.
template <class Work>
OrtStatus* guarded(const Work& work) noexcept {
    try {
        work();
        return nullptr;
    } catch (const std::exception& error) {
        return ort::CreateStatus::call(table, ort::error_invalid_argument, error.what());
    } catch (...) {
        return ort::CreateStatus::call(table, ort::error_fail, "an operator failed");
    }
}

struct Registered : OrtCustomOp {
    const Definition* definition;
};

const Definition& definition(const OrtCustomOp* op) { return *static_cast<const Registered*>(op)->definition; }

OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
    return guarded([&] { *kernel = definition(op).create(Attributes(api, info)).release(); });
}

OrtStatus* compute(void* kernel, OrtKernelContext* context) {
    return guarded([&] { static_cast<const Kernel*>(kernel)->compute(Context(table, context)); });
}

//! Whether every extent of a shape is a number or has a name. A shape that is unknown comes without extents.
OrtStatus* is_stated(const OrtTensorTypeAndShapeInfo* info, bool& stated) {
    std::size_t rank = 0;
    OrtStatus* status = ort::GetDimensionsCount::call(table, info, &rank);
    std::vector<std::int64_t> extents(rank);
    std::vector<const char*> names(rank, "");
    if (status == nullptr) {
        status = ort::GetDimensions::call(table, info, extents.data(), rank);
    }
    if (status == nullptr) {
        status = ort::GetSymbolicDimensions::call(table, info, names.data(), rank);
    }
    stated = rank > 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
        stated = stated && (extents[axis] >= 0 || *names[axis] != '\0');
    }
    return status;
}

//! Extents that are neither numbers nor named would get the empty name, which all of them then share: ONNX Runtime takes
//! equal names for equal extents, and would put outputs into memory of another size.
OrtStatus* output_is_like_first(const OrtCustomOp*, OrtShapeInferContext* context) {
    OrtTensorTypeAndShapeInfo* info = nullptr;  // stays the context's
    OrtStatus* status = ort::ShapeInferGetInput::call(table, context, 0, &info);
    bool stated = false;
    if (status == nullptr) {
        status = is_stated(info, stated);
    }
    return status == nullptr && stated ? ort::ShapeInferSetOutput::call(table, context, 0, info) : status;
}

//! The output may lie in the memory of any input of its size which nothing needs any more: every number is read before
//! the one at its place is written.
std::size_t any_in_place(int** inputs, int** outputs) {
    static int from[] = {0, 1, 2, 3, 4, 5, 6, 7}, to[std::size(from)] = {};
    *inputs = from;
    *outputs = to;
    return std::size(from);
}

Registered registered(const Definition& of) {
    Registered op{};
    op.version = ort::api_version;
    op.definition = &of;
    op.get_name = [](const OrtCustomOp* one) { return definition(one).name; };
    op.get_provider = [](const OrtCustomOp*) -> const char* { return nullptr; };
    op.get_input_type = [](const OrtCustomOp*, std::size_t) { return ort::type_float; };
    op.get_output_type = [](const OrtCustomOp*, std::size_t) { return ort::type_float; };
    op.get_input_count = [](const OrtCustomOp* one) {
        return definition(one).inputs == 0 ? std::size_t{1} : definition(one).inputs;
    };
    op.get_output_count = [](const OrtCustomOp*) { return std::size_t{1}; };
    op.kernel_destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    op.get_input_characteristic = [](const OrtCustomOp* one, std::size_t) {
        return definition(one).inputs == 0 ? ort::input_variadic : ort::input_required;
    };
    op.get_output_characteristic = [](const OrtCustomOp*, std::size_t) { return ort::input_required; };
    op.get_input_memory = [](const OrtCustomOp*, std::size_t) { return ort::memory_default; };
    op.get_variadic_input_least = [](const OrtCustomOp*) { return 1; };
    op.get_variadic_input_homogeneous = [](const OrtCustomOp*) { return 1; };
    op.get_variadic_output_least = [](const OrtCustomOp*) { return 1; };
    op.get_variadic_output_homogeneous = [](const OrtCustomOp*) { return 1; };
    op.create_kernel_2 = create_kernel;
    op.kernel_compute_2 = compute;
    op.infer_output_shape = of.like_first ? output_is_like_first : nullptr;
    op.get_start_version = [](const OrtCustomOp*) { return 1; };
    op.get_end_version = [](const OrtCustomOp*) { return 1; };
    op.get_may_inplace = of.in_place ? any_in_place : nullptr;
    op.release_may_inplace = [](int*, int*) {};
    return op;
}

//! Makes the domain with all operators.
OrtStatus* make_domain(OrtCustomOpDomain** made) {
    static const Registered all[] = {registered(gate()), registered(pool_gradient()), registered(interleave()),
                                     registered(chain()), registered(chain_sum())};
    OrtCustomOpDomain* domain = nullptr;
    OrtStatus* status = ort::CreateCustomOpDomain::call(table, domain_name, &domain);
    for (const Registered& op : all) {
        if (status == nullptr) {
            status = ort::CustomOpDomainAdd::call(table, domain, &op);
        }
    }
    if (status == nullptr) {
        *made = domain;
    }
    return status;
}

//! Adds the domain to a session's options. There is one for all sessions, and it lives as long as the process: sessions
//! hold on to it.
OrtStatus* add_domain(OrtSessionOptions* options, const OrtApi* api) {
    static std::mutex mutex;
    static OrtCustomOpDomain* domain = nullptr;
    const std::lock_guard<std::mutex> lock(mutex);
    if (domain == nullptr) {
        table = api;
        OrtStatus* status = make_domain(&domain);
        if (status != nullptr) {
            return status;
        }
    }
    return ort::AddCustomOpDomain::call(api, options, domain);
}

}  // namespace
}  // namespace onnxplain::operators

ONNXPLAIN_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
    const OrtApi* api = base->get_api(onnxplain::ort::api_version);
    if (api == nullptr) {
        return nullptr;  // older than any supported release: models with these operators then do not load
    }
    return onnxplain::operators::add_domain(options, api);
}
