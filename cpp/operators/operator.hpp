// What an operator is to this library: a kernel made from a node's attributes, and what ONNX Runtime asks of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "ort_api.hpp"

namespace onnxplain::operators {

//! An input as it is stored: for values in the blocked layout the dimensions are still [N, C, H, W].
struct Tensor {
    float* data = nullptr;
    std::vector<std::int64_t> dims;

    std::size_t size() const;
};

//! The attributes of a node. Each function throws std::invalid_argument where there is none of that name and type.
class Attributes {
  public:
    Attributes(const OrtApi* api, const OrtKernelInfo* info) : api_(api), info_(info) {}
    std::vector<float> floats(const char* name) const;
    std::vector<std::int64_t> ints(const char* name) const;

  private:
    const OrtApi* api_;
    const OrtKernelInfo* info_;
};

//! One run of a node.
class Context {
  public:
    Context(const OrtApi* api, OrtKernelContext* context) : api_(api), context_(context) {}
    std::size_t inputs() const;
    //! Input `index`, which must hold float32.
    Tensor input(std::size_t index) const;
    //! The only output, made with these dimensions; its memory may be that of an input.
    float* output(const std::vector<std::int64_t>& dims) const;
    //! Calls `work` for 0 ... count - 1, on the threads of the session.
    void parallel(std::size_t count, const std::function<void(std::size_t)>& work) const;
    //! Calls `work(start, end)` for pieces of 0 ... `count` of about `piece` items.
    void pieces(std::size_t count, std::size_t piece,
                const std::function<void(std::size_t, std::size_t)>& work) const;

  private:
    const OrtApi* api_;
    OrtKernelContext* context_;
};

class Kernel {
  public:
    virtual ~Kernel() = default;
    //! Throws std::invalid_argument where the inputs do not fit.
    virtual void compute(const Context& context) const = 0;
};

//! One operator; `inputs` 0 is any number of them.
struct Definition {
    const char* name;
    std::size_t inputs;
    //! Whether the output has the shape of the first input, and whether its memory may then be that of an input.
    bool like_first, in_place;
    std::unique_ptr<Kernel> (*create)(const Attributes&);
};

const Definition& gate();
const Definition& pool_gradient();
const Definition& interleave();
const Definition& chain();
const Definition& chain_sum();

}  // namespace onnxplain::operators
