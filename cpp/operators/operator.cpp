#include "operator.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace onnxplain::operators {
namespace {

//! Throws what a status says; nullptr is success.
void check(const OrtApi* api, OrtStatus* status) {
    if (status != nullptr) {
        const std::string message = ort::GetErrorMessage::call(api, status);
        ort::ReleaseStatus::call(api, status);
        throw std::invalid_argument(message);
    }
}

}  // namespace

std::size_t Tensor::size() const {
    std::size_t count = 1;
    for (std::int64_t extent : dims) {
        count *= static_cast<std::size_t>(extent);
    }
    return count;
}

std::vector<float> Attributes::floats(const char* name) const {
    std::size_t size = 0;
    check(api_, ort::KernelInfoGetFloats::call(api_, info_, name, nullptr, &size));
    std::vector<float> values(size);
    check(api_, ort::KernelInfoGetFloats::call(api_, info_, name, values.data(), &size));
    return values;
}

std::vector<std::int64_t> Attributes::ints(const char* name) const {
    std::size_t size = 0;
    check(api_, ort::KernelInfoGetInts::call(api_, info_, name, nullptr, &size));
    std::vector<std::int64_t> values(size);
    check(api_, ort::KernelInfoGetInts::call(api_, info_, name, values.data(), &size));
    return values;
}

std::size_t Context::inputs() const {
    std::size_t count = 0;
    check(api_, ort::KernelContextGetInputCount::call(api_, context_, &count));
    return count;
}

Tensor Context::input(std::size_t index) const {
    const OrtValue* value = nullptr;
    check(api_, ort::KernelContextGetInput::call(api_, context_, index, &value));
    if (value == nullptr) {
        throw std::invalid_argument("an input is missing");
    }
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(api_, ort::GetTensorTypeAndShape::call(api_, value, &info));
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, std::function<void(OrtTensorTypeAndShapeInfo*)>> released(
        info, [this](OrtTensorTypeAndShapeInfo* one) { ort::ReleaseTensorTypeAndShapeInfo::call(api_, one); });
    int type = 0;
    check(api_, ort::GetTensorElementType::call(api_, info, &type));
    if (type != ort::type_float) {
        throw std::invalid_argument("an input is not float32");
    }
    Tensor tensor;
    std::size_t rank = 0;
    check(api_, ort::GetDimensionsCount::call(api_, info, &rank));
    tensor.dims.resize(rank);
    check(api_, ort::GetDimensions::call(api_, info, tensor.dims.data(), rank));
    void* data = nullptr;
    check(api_, ort::GetTensorMutableData::call(api_, const_cast<OrtValue*>(value), &data));
    tensor.data = static_cast<float*>(data);
    return tensor;
}

float* Context::output(const std::vector<std::int64_t>& dims) const {
    OrtValue* value = nullptr;
    check(api_, ort::KernelContextGetOutput::call(api_, context_, 0, dims.data(), dims.size(), &value));
    void* data = nullptr;
    check(api_, ort::GetTensorMutableData::call(api_, value, &data));
    return static_cast<float*>(data);
}

void Context::parallel(std::size_t count, const std::function<void(std::size_t)>& work) const {
    if (count < 2) {
        return count == 1 ? work(0) : void();
    }
    const auto call = [](void* data, std::size_t index) {
        (*static_cast<const std::function<void(std::size_t)>*>(data))(index);
    };
    void* data = const_cast<void*>(static_cast<const void*>(&work));
    check(api_, ort::KernelContextParallelFor::call(api_, context_, call, count, 0, data));
}

void Context::pieces(std::size_t count, std::size_t piece,
                     const std::function<void(std::size_t, std::size_t)>& work) const {
    const std::size_t parts = (count + piece - 1) / piece;
    parallel(parts, [&](std::size_t part) { work(part * piece, std::min(count, (part + 1) * piece)); });
}

}  // namespace onnxplain::operators
