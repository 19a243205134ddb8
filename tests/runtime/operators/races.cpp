// The operators without ONNX Runtime, for sanitizers, which have to see all code that runs: a table of functions stands
// for it, and threads of this program for its pool. Several sessions register the library at once, and run one kernel at
// once, each on inputs of its own; every result has to be that of a run alone. Built and run by races.py.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../../cpp/operators/ort_api.hpp"

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

struct OrtStatus {
    std::string message;
};
struct OrtValue {
    Ints dims;
    float* data;
};
struct OrtTensorTypeAndShapeInfo {
    Ints dims;
};
struct OrtKernelInfo {
    std::map<std::string, Floats> floats;
    std::map<std::string, Ints> ints;
};
struct OrtCustomOpDomain {
    std::vector<const OrtCustomOp*> operators;
};
struct OrtSessionOptions {
    OrtCustomOpDomain* domain = nullptr;
};
struct OrtKernelContext {
    std::vector<OrtValue> inputs;
    OrtValue output{};
    Floats memory;
    int in_place = -1;
    std::size_t threads = 1;
};

extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions*, const OrtApiBase*);

namespace {

namespace ort = onnxplain::ort;

std::size_t size(const Ints& dims) {
    std::size_t count = 1;
    for (std::int64_t extent : dims) {
        count *= static_cast<std::size_t>(extent);
    }
    return count;
}

void* functions[300] = {};

//! Puts what stands for a function of ONNX Runtime at its place; the compiler checks that they are of one type.
template <std::size_t Place, class Result, class... Arguments>
void put(ort::Function<Place, Result, Arguments...>, Result (*function)(Arguments...)) {
    functions[Place] = reinterpret_cast<void*>(function);
}

template <class T>
OrtStatus* copy(const std::map<std::string, std::vector<T>>& all, const char* name, T* to, std::size_t* count) {
    const auto found = all.find(name);
    if (found == all.end()) {
        return new OrtStatus{std::string("there is no attribute ") + name};
    }
    if (to != nullptr) {
        std::copy(found->second.begin(), found->second.end(), to);
    }
    *count = found->second.size();
    return nullptr;
}

OrtStatus* output(OrtKernelContext* context, std::size_t, const std::int64_t* dims, std::size_t rank, OrtValue** value) {
    const Ints shape(dims, dims + rank);
    float* at = nullptr;
    if (context->in_place >= 0) {
        at = context->inputs[static_cast<std::size_t>(context->in_place)].data;
    } else {
        context->memory.assign(size(shape), -1.0f);
        at = context->memory.data();
    }
    context->output = {shape, at};
    *value = &context->output;
    return nullptr;
}

OrtStatus* parallel(const OrtKernelContext* context, void (*work)(void*, std::size_t), std::size_t count, std::size_t,
                    void* data) {
    std::atomic<std::size_t> next{0};
    const auto run = [&] {
        for (std::size_t i = next++; i < count; i = next++) {
            work(data, i);
        }
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < context->threads; ++i) {
        threads.emplace_back(run);
    }
    run();
    for (std::thread& one : threads) {
        one.join();
    }
    return nullptr;
}

void fill_table() {
    put(ort::CreateStatus{}, +[](int, const char* message) { return new OrtStatus{message}; });
    put(ort::GetErrorMessage{}, +[](const OrtStatus* status) { return status->message.c_str(); });
    put(ort::ReleaseStatus{}, +[](OrtStatus* status) { delete status; });
    put(ort::CreateCustomOpDomain{}, +[](const char*, OrtCustomOpDomain** made) -> OrtStatus* {
        *made = new OrtCustomOpDomain;
        return nullptr;
    });
    put(ort::CustomOpDomainAdd{}, +[](OrtCustomOpDomain* domain, const OrtCustomOp* one) -> OrtStatus* {
        domain->operators.push_back(one);
        return nullptr;
    });
    put(ort::AddCustomOpDomain{}, +[](OrtSessionOptions* options, OrtCustomOpDomain* domain) -> OrtStatus* {
        options->domain = domain;
        return nullptr;
    });
    put(ort::KernelInfoGetFloats{}, +[](const OrtKernelInfo* info, const char* name, float* to, std::size_t* count) {
        return copy(info->floats, name, to, count);
    });
    put(ort::KernelInfoGetInts{}, +[](const OrtKernelInfo* info, const char* name, std::int64_t* to, std::size_t* count) {
        return copy(info->ints, name, to, count);
    });
    put(ort::KernelContextGetInputCount{}, +[](const OrtKernelContext* context, std::size_t* count) -> OrtStatus* {
        *count = context->inputs.size();
        return nullptr;
    });
    put(ort::KernelContextGetInput{},
        +[](const OrtKernelContext* context, std::size_t index, const OrtValue** value) -> OrtStatus* {
            *value = &context->inputs[index];
            return nullptr;
        });
    put(ort::KernelContextGetOutput{}, output);
    put(ort::KernelContextParallelFor{}, parallel);
    put(ort::GetTensorTypeAndShape{}, +[](const OrtValue* value, OrtTensorTypeAndShapeInfo** info) -> OrtStatus* {
        *info = new OrtTensorTypeAndShapeInfo{value->dims};
        return nullptr;
    });
    put(ort::ReleaseTensorTypeAndShapeInfo{}, +[](OrtTensorTypeAndShapeInfo* info) { delete info; });
    put(ort::GetTensorElementType{}, +[](const OrtTensorTypeAndShapeInfo*, int* type) -> OrtStatus* {
        *type = ort::type_float;
        return nullptr;
    });
    put(ort::GetDimensionsCount{}, +[](const OrtTensorTypeAndShapeInfo* info, std::size_t* rank) -> OrtStatus* {
        *rank = info->dims.size();
        return nullptr;
    });
    put(ort::GetDimensions{},
        +[](const OrtTensorTypeAndShapeInfo* info, std::int64_t* dims, std::size_t) -> OrtStatus* {
            std::copy(info->dims.begin(), info->dims.end(), dims);
            return nullptr;
        });
    put(ort::GetTensorMutableData{}, +[](OrtValue* value, void** data) -> OrtStatus* {
        *data = value->data;
        return nullptr;
    });
}

struct Case {
    const char* kind;
    std::vector<Ints> shapes;
    OrtKernelInfo info;
    int in_place = -1;
};

//! Sizes that make several pieces, and do not fill the last one.
std::vector<Case> cases() {
    const OrtKernelInfo clip{{{"alpha", {3e38f, -1e30f}}, {"beta", {0.0f, 6e30f}}}, {}};
    const OrtKernelInfo relu{{{"alpha", {3e38f}}, {"beta", {0.0f}}}, {}};
    const Ints large{2, 32, 41, 43}, half{2, 32, 21, 22}, channels{2, 32, 1, 1};
    std::vector<Case> all{
        {"Gate", {large, large}, clip},    {"Gate", {large, large}, relu, 0},       {"Gate", {large, large}, clip, 1},
        {"Gate", {large, large, large}, relu}, {"Gate", {large, large, large}, clip, 2},
    };
    for (std::int64_t lanes : {1, 8, 16}) {
        for (std::int64_t add : {0, 1}) {
            const std::map<std::string, Ints> windows{{"kernel_shape", {3, 3}}, {"strides", {2, 2}}, {"dilations", {1, 1}},
                                                      {"top_left", {1, 1}},     {"add", {add}},      {"lanes", {lanes}}};
            all.push_back({"PoolGradient", {large, half}, {{}, windows}});
        }
        all.push_back({"Interleave",
                       {half, half, half},
                       {{}, {{"phases", {0, 1, 3}}, {"stride", {2, 2}}, {"size", {41, 43}}, {"lanes", {lanes}}}}});
        // (x s) exp(x) + x
        const std::map<std::string, Ints> program{{"program", {2, 0, 1, 0, 5, 0, 0, 0, 2, 3, 4, 0, 0, 5, 0, 0}},
                                                  {"count", {2}},
                                                  {"axis", {2}},
                                                  {"lanes", {lanes}}};
        for (int place : {-1, 0}) {
            all.push_back({"Chain", {large, channels}, {{{"constants", {0.0f}}}, program}, place});
        }
        all.push_back({"ChainSum", {large, channels}, {{{"constants", {0.0f}}}, program}});
    }
    // x - sum(x y), over rows
    const std::map<std::string, Ints> sums{
        {"program", {2, 0, 1, 0, 7, 3, 0, 0, 1, 0, 4, 0}}, {"count", {2}}, {"axis", {2}}, {"lanes", {1}}};
    all.push_back({"Chain", {{8, 50, 197}, {8, 50, 197}}, {{{"constants", {0.0f}}}, sums}});
    return all;
}

const OrtApi* api() { return reinterpret_cast<const OrtApi*>(functions); }

const OrtCustomOp& registered(const char* kind) {
    static const OrtApiBase base{[](std::uint32_t) { return api(); }, [] { return "none"; }};
    OrtSessionOptions options;
    if (RegisterCustomOps(&options, &base) != nullptr) {
        std::abort();
    }
    for (const OrtCustomOp* one : options.domain->operators) {
        if (std::strcmp(one->get_name(one), kind) == 0) {
            return *one;
        }
    }
    std::abort();
}

//! Runs a kernel on inputs that `seed` stands for.
Floats run(const OrtCustomOp& op, void* kernel, const Case& of, unsigned seed, std::size_t threads) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<Floats> values;
    OrtKernelContext context;
    for (const Ints& shape : of.shapes) {
        values.emplace_back(size(shape));
        for (float& one : values.back()) {
            one = normal(random);
        }
        context.inputs.push_back({shape, values.back().data()});
    }
    context.in_place = of.in_place;
    context.threads = threads;
    if (OrtStatus* status = op.kernel_compute_2(kernel, &context)) {
        std::cerr << of.kind << ": " << status->message << "\n";
        std::abort();
    }
    return {context.output.data, context.output.data + size(context.output.dims)};
}

bool same(const Floats& a, const Floats& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

int main() {
    constexpr unsigned sessions = 4;
    fill_table();
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0}, right{0};
    const std::vector<Case> all = cases();
    for (unsigned session = 0; session < sessions; ++session) {  // the first thing that happens to the library
        threads.emplace_back([] { registered("Gate"); });
    }
    for (std::thread& one : threads) {
        one.join();
    }
    for (const Case& one : all) {
        const OrtCustomOp& op = registered(one.kind);
        void* kernel = nullptr;
        if (op.create_kernel_2(&op, api(), &one.info, &kernel) != nullptr) {
            std::abort();
        }
        std::vector<Floats> alone;
        for (unsigned session = 0; session < sessions; ++session) {
            alone.push_back(run(op, kernel, one, session, 1));
        }
        threads.clear();
        for (unsigned session = 0; session < sessions; ++session) {
            threads.emplace_back([&, session] { ++(same(run(op, kernel, one, session, 3), alone[session]) ? right : wrong); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        op.kernel_destroy(kernel);
    }
    std::cout << right << " runs at once gave what they give alone, " << wrong << " did not\n";
    return wrong == 0 ? 0 : 1;
}
