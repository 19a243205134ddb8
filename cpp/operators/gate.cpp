// Gate(dy, y) = dy · Π HardSigmoid(y), and Gate(a, b, y) with dy = a + b: the gradient of ReLU and of Clip, and the
// addition of a shortcut's gradient before it, in one pass over memory, in any layout.
#include <stdexcept>

#include "kernels.hpp"
#include "operator.hpp"

namespace onnxplain::operators {
namespace {

constexpr std::size_t piece = 1 << 14;

class Gate final : public Kernel {
  public:
    explicit Gate(const Attributes& attributes) : kernels_(chosen_kernels()) {
        const std::vector<float> alpha = attributes.floats("alpha"), beta = attributes.floats("beta");
        if (alpha.size() != beta.size() || alpha.empty() || alpha.size() > 2) {
            throw std::invalid_argument("Gate takes one or two values of alpha, and as many of beta");
        }
        for (std::size_t i = 0; i < alpha.size(); ++i) {
            ramps_.push_back({alpha[i], beta[i]});
        }
    }

    void compute(const Context& context) const override {
        const std::size_t count = context.inputs();
        if (count != 2 && count != 3) {
            throw std::invalid_argument("Gate takes one or two gradients, and what they are gated by");
        }
        const Tensor first = context.input(0), second = context.input(count - 2), y = context.input(count - 1);
        if (first.dims != y.dims || second.dims != y.dims) {
            throw std::invalid_argument("Gate takes inputs of one shape");
        }
        float* out = context.output(y.dims);
        context.pieces(y.size(), piece, [&](std::size_t start, std::size_t end) {
            const float* dys[] = {first.data + start, second.data + start};
            kernels_.gate(dys, count - 1, y.data + start, out + start, end - start, ramps_.data(), ramps_.size());
        });
    }

  private:
    const Kernels& kernels_;
    std::vector<Ramp> ramps_;
};

std::unique_ptr<Kernel> create(const Attributes& attributes) { return std::make_unique<Gate>(attributes); }

}  // namespace

const Definition& gate() {
    static const Definition definition{"Gate", 0, true, true, create};
    return definition;
}

}  // namespace onnxplain::operators
