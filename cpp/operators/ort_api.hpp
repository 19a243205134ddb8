// The part of ONNX Runtime's C interface that the operators use. The wheels ship no header, and the interface only ever
// grows: functions keep their places in the table, members of OrtCustomOp keep theirs and new ones are read only from
// operators that state a newer version. Source of the places: the table `ort_api_1_to_25` in onnxruntime_c_api.cc and
// `struct OrtCustomOp` in onnxruntime_c_api.h (ONNX Runtime 1.25, MIT licence). tests/runtime/operators/test_library.py
// runs every operator, and so every function below; tests/runtime/operators/versions.py does so in the oldest and the
// newest supported release.
#pragma once

#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtShapeInferContext;
struct OrtTensorTypeAndShapeInfo;
struct OrtValue;

//! The table of functions; what is in it is asked for by place.
struct OrtApi {
    void* first;
};

struct OrtApiBase {
    const OrtApi* (*get_api)(std::uint32_t version);
    const char* (*get_version)();
};

struct OrtCustomOp {
    std::uint32_t version;
    void* (*create_kernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
    const char* (*get_name)(const OrtCustomOp*);
    const char* (*get_provider)(const OrtCustomOp*);
    int (*get_input_type)(const OrtCustomOp*, std::size_t);
    std::size_t (*get_input_count)(const OrtCustomOp*);
    int (*get_output_type)(const OrtCustomOp*, std::size_t);
    std::size_t (*get_output_count)(const OrtCustomOp*);
    void (*kernel_compute)(void*, OrtKernelContext*);
    void (*kernel_destroy)(void*);
    int (*get_input_characteristic)(const OrtCustomOp*, std::size_t);
    int (*get_output_characteristic)(const OrtCustomOp*, std::size_t);
    int (*get_input_memory)(const OrtCustomOp*, std::size_t);
    int (*get_variadic_input_least)(const OrtCustomOp*);
    int (*get_variadic_input_homogeneous)(const OrtCustomOp*);
    int (*get_variadic_output_least)(const OrtCustomOp*);
    int (*get_variadic_output_homogeneous)(const OrtCustomOp*);
    OrtStatus* (*create_kernel_2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void**);
    OrtStatus* (*kernel_compute_2)(void*, OrtKernelContext*);
    OrtStatus* (*infer_output_shape)(const OrtCustomOp*, OrtShapeInferContext*);
    int (*get_start_version)(const OrtCustomOp*);
    int (*get_end_version)(const OrtCustomOp*);
    std::size_t (*get_may_inplace)(int** inputs, int** outputs);
    void (*release_may_inplace)(int* inputs, int* outputs);
    std::size_t (*get_alias_map)(int** inputs, int** outputs);
    void (*release_alias_map)(int* inputs, int* outputs);
};

namespace onnxplain::ort {

//! The version that is asked for, of the table and of OrtCustomOp: that of the oldest supported release, 1.21.
constexpr std::uint32_t api_version = 21;

constexpr int type_float = 1;  // ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
constexpr int input_required = 0, input_variadic = 2;
constexpr int memory_default = 0;
constexpr int error_fail = 1, error_invalid_argument = 2;

//! A function of the table, by its place.
template <std::size_t Place, class Result, class... Arguments>
struct Function {
    static Result call(const OrtApi* api, Arguments... arguments) {
        using Pointer = Result (*)(Arguments...);
        return reinterpret_cast<Pointer>((&api->first)[Place])(arguments...);
    }
};

using CreateStatus = Function<0, OrtStatus*, int, const char*>;
using GetErrorMessage = Function<2, const char*, const OrtStatus*>;
using CreateCustomOpDomain = Function<26, OrtStatus*, const char*, OrtCustomOpDomain**>;
using CustomOpDomainAdd = Function<27, OrtStatus*, OrtCustomOpDomain*, const OrtCustomOp*>;
using AddCustomOpDomain = Function<28, OrtStatus*, OrtSessionOptions*, OrtCustomOpDomain*>;
using GetTensorMutableData = Function<51, OrtStatus*, OrtValue*, void**>;
using GetTensorElementType = Function<60, OrtStatus*, const OrtTensorTypeAndShapeInfo*, int*>;
using GetDimensionsCount = Function<61, OrtStatus*, const OrtTensorTypeAndShapeInfo*, std::size_t*>;
using GetDimensions = Function<62, OrtStatus*, const OrtTensorTypeAndShapeInfo*, std::int64_t*, std::size_t>;
using GetSymbolicDimensions = Function<63, OrtStatus*, const OrtTensorTypeAndShapeInfo*, const char**, std::size_t>;
using GetTensorTypeAndShape = Function<65, OrtStatus*, const OrtValue*, OrtTensorTypeAndShapeInfo**>;
using KernelContextGetInputCount = Function<88, OrtStatus*, const OrtKernelContext*, std::size_t*>;
using KernelContextGetInput = Function<90, OrtStatus*, const OrtKernelContext*, std::size_t, const OrtValue**>;
using KernelContextGetOutput =
    Function<91, OrtStatus*, OrtKernelContext*, std::size_t, const std::int64_t*, std::size_t, OrtValue**>;
using ReleaseStatus = Function<93, void, OrtStatus*>;
using ReleaseTensorTypeAndShapeInfo = Function<99, void, OrtTensorTypeAndShapeInfo*>;
using KernelInfoGetFloats = Function<162, OrtStatus*, const OrtKernelInfo*, const char*, float*, std::size_t*>;
using KernelInfoGetInts = Function<163, OrtStatus*, const OrtKernelInfo*, const char*, std::int64_t*, std::size_t*>;
using ShapeInferGetInput =
    Function<268, OrtStatus*, const OrtShapeInferContext*, std::size_t, OrtTensorTypeAndShapeInfo**>;
using ShapeInferSetOutput =
    Function<270, OrtStatus*, const OrtShapeInferContext*, std::size_t, const OrtTensorTypeAndShapeInfo*>;
using KernelContextParallelFor = Function<274, OrtStatus*, const OrtKernelContext*, void (*)(void*, std::size_t),
                                          std::size_t, std::size_t, void*>;

}  // namespace onnxplain::ort
